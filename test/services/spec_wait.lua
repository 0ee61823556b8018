--- badstart under a name of its own, for specs of unique services.
return assert(loadfile "./test/services/badstart.lua")(...)
