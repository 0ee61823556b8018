--- The module "skynet.dns" under the name it had before names began with "skynet.".
return require "skynet.dns"
