--- The module "skynet.stm" under the name it had before names began with "skynet.".
return require "skynet.stm"
