--- The module "skynet.socketdriver" under the name it had before names began with "skynet.".
return require "skynet.socketdriver"
