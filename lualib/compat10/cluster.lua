--- The module "skynet.cluster" under the name it had before names began with "skynet.".
return require "skynet.cluster"
