--- The module "skynet.socketchannel" under the name it had before names began with "skynet.".
return require "skynet.socketchannel"
