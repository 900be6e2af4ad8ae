-- The fields of `INFO dirty` for Prometheus: redis_exporter -script redis_exporter.lua (or REDIS_EXPORTER_SCRIPT).
-- It exports by itself what the server counts of every command and error, and of streams and groups what
-- -check-streams names; of a module's own fields only those whose names it knows, so they go this way.
local metrics = {}
for name, value in redis.call('INFO', 'dirty'):gmatch('(dirty_[%w_]+):(%d+)') do
    metrics[#metrics + 1] = name
    metrics[#metrics + 1] = value
end
return metrics
