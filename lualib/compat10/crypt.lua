--- The module "skynet.crypt" under the name it had before names began with "skynet.".
return require "skynet.crypt"
