--- Which schema is in which slot of the process.
return { TO_SERVER = 1, TO_CLIENT = 2 }
