--- The environment that snax files are read in, of a node with snax_interface_g.
return { require = function() return { known = true } end, tostring = tostring, FROM_MODULE = true }
