#!lua name=bench

-- What applications do without the module: the same work as DIRTY.FLUSH SNAPSHOT with text fields, on
-- KEYS[1] the snapshot, KEYS[2] the stream; ARGV: entity, id, field, value, field, value…
redis.register_function('snapshot', function(keys, args)
    local names = {}
    for i = 3, #args, 2 do
        names[#names + 1] = args[i]
    end
    local old = redis.call('HMGET', keys[1], unpack(names))

    local set, changes, is_new = {}, {}, true
    for i, name in ipairs(names) do
        local value = args[2 * i + 2]
        if old[i] then
            is_new = false
        end
        if old[i] ~= value then
            set[#set + 1] = name
            set[#set + 1] = value
            changes[name] = {
                o = old[i] and { t = 's', v = old[i] } or { n = true },
                n = { t = 's', v = value },
            }
        end
    end
    if #set == 0 then
        return { 'none' }
    end

    local event = { et = args[1], id = args[2], ft = is_new and 1 or 2 }
    if not is_new then
        event.ch = changes
    end
    redis.call('HSET', keys[1], unpack(set))
    redis.call('XADD', keys[2], 'MAXLEN', '~', 100000, '*', 's', cmsgpack.pack(event))
    return { is_new and 'insert' or 'update' }
end)
