--- The module "skynet.db.mysql" under the name it had before names began with "skynet.".
return require "skynet.db.mysql"
