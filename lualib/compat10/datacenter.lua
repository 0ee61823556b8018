--- The module "skynet.datacenter" under the name it had before names began with "skynet.".
return require "skynet.datacenter"
