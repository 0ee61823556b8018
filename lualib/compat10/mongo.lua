--- The module "skynet.db.mongo" under the name it had before names began with "skynet.".
return require "skynet.db.mongo"
