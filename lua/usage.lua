core.register_filter("usage", {new=function() return {} end, id="x", flags=filter.FLT_CFG_FL_HTX}, function(f) return f end)
