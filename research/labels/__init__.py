"""Labels by wB97X-3c: which geometries get one, leaks from test sets, shards of the data set."""
