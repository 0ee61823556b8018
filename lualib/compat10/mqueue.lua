--- The module "skynet.mqueue" under the name it had before names began with "skynet.".
return require "skynet.mqueue"
