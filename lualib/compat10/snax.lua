--- The module "skynet.snax" under the name it had before names began with "skynet.".
return require "skynet.snax"
