--- The module "skynet.sharedata" under the name it had before names began with "skynet.".
return require "skynet.sharedata"
