--- The module "skynet.profile" under the name it had before names began with "skynet.".
return require "skynet.profile"
