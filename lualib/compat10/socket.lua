--- The module "skynet.socket" under the name it had before names began with "skynet.".
return require "skynet.socket"
