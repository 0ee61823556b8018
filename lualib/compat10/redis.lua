--- The module "skynet.db.redis" under the name it had before names began with "skynet.".
return require "skynet.db.redis"
