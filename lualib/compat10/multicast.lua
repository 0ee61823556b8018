--- The module "skynet.multicast" under the name it had before names began with "skynet.".
return require "skynet.multicast"
