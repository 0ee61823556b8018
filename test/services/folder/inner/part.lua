--- Found through the folder of the service.
return "part of inner"
