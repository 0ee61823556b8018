--- The module "skynet.memory" under the name it had before names began with "skynet.".
return require "skynet.memory"
