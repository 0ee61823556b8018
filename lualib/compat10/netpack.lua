--- The module "skynet.netpack" under the name it had before names began with "skynet.".
return require "skynet.netpack"
