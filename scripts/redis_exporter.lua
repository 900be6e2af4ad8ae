-- The fields of `INFO dirty` for Prometheus: redis_exporter -script redis_exporter.lua (or REDIS_EXPORTER_SCRIPT).
-- It exports by itself what the server counts of every command and error, and of streams and native groups what
-- -check-streams names; of a module's own fields only those whose names it knows, so they go this way.

-- Streams whose readers are told, too, each number as `<stream>/<reader>/<what DIRTY.STATS calls it>`.
-- For example { 'user-changes', 'orders' }.
local streams = {}

local metrics = {}

local function tell(name, value)
    metrics[#metrics + 1] = name
    metrics[#metrics + 1] = string.format('%.0f', value)
end

local function map(flat)
    local found = {}
    for i = 1, #flat, 2 do
        found[flat[i]] = flat[i + 1]
    end
    return found
end

local function tell_numbers(prefix, stats)
    for name, value in pairs(stats) do
        if type(value) == 'number' then
            tell(prefix .. '/' .. name, value)
        end
    end
end

for name, value in redis.call('INFO', 'dirty'):gmatch('(dirty_[%w_]+):(%d+)') do
    tell(name, value)
end
for _, stream in ipairs(streams) do
    local stats = redis.pcall('DIRTY.STATS', stream)
    if not stats.err then
        stats = map(stats)
        tell_numbers(stream, stats)
        for _, reader in ipairs(stats.readers) do
            reader = map(reader)
            tell_numbers(stream .. '/' .. reader.name, reader)
        end
    end
end
return metrics
