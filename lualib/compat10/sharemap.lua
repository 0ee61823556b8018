--- The module "skynet.sharemap" under the name it had before names began with "skynet.".
return require "skynet.sharemap"
