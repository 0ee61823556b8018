-- The nodes of the cluster and where they listen. cluster.reload() reads this file again.
db = "127.0.0.1:2528"
front = "127.0.0.1:2529"
