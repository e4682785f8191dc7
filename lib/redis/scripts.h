// What Redis runs as one step (Lua). Only work_stream.cpp includes this.
#pragma once

namespace backlot::scripts {

// An entry that lies on the stream under other settings is replaced unless a box has it in hand.
// "replace" puts on nothing else: what is no longer there was settled meanwhile.
constexpr const char* add = R"lua(
local group, shelf, run, target, what = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local added = 0
for i = 6, #ARGV, 2 do
  local id, item = ARGV[i], ARGV[i + 1]
  local entry = redis.call('HGET', KEYS[2], id)
  local there = entry and redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if there and (there[2][6] ~= item or there[2][8] ~= target) then
    local owner = redis.call('XPENDING', KEYS[1], group, entry, entry, 1)[1]
    if not owner or owner[2] == shelf then
      redis.call('XACK', KEYS[1], group, entry)
      redis.call('XDEL', KEYS[1], entry)
      there = nil
    end
  end
  if not there and (entry or what ~= 'replace') then
    entry = redis.call('XADD', KEYS[1], '*', 'run', run, 'id', id, 'item', item, 'target', target)
    redis.call('HSET', KEYS[2], id, entry)
    added = added + 1
  end
end
return added
)lua";

// Some at a time: a script holds everyone else up.
constexpr const char* remove_some = R"lua(
local some = redis.call('HSCAN', KEYS[2], 0, 'COUNT', 500)[2]
for i = 1, #some, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], some[i + 1])
  redis.call('XDEL', KEYS[1], some[i + 1])
  redis.call('HDEL', KEYS[2], some[i])
end
return redis.call('HLEN', KEYS[2])
)lua";

// What was given back comes first. XCLAIM returns nothing for an entry that is no longer there.
constexpr const char* take_over = R"lua(
local group, shelf, box, min_idle, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local out = {}
local function claim(pending)
  for _, p in ipairs(pending) do
    local got = redis.call('XCLAIM', KEYS[1], group, box, 0, p[1])
    if got[1] then out[#out + 1] = {p[2], p[4] + 1, got[1]} end
  end
end
claim(redis.call('XPENDING', KEYS[1], group, '-', '+', count, shelf))
if min_idle ~= '' and #out < count then
  claim(redis.call('XPENDING', KEYS[1], group, 'IDLE', min_idle, '-', '+', count - #out))
end
return out
)lua";

constexpr const char* held = R"lua(
local out = {}
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000, ARGV[2])) do
  local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])[1]
  if entry then out[#out + 1] = {p[2], p[4], entry}
  else redis.call('XACK', KEYS[1], ARGV[1], p[1]) end
end
return out
)lua";

// FORCE: a server that lost its last second may have forgotten to whom it gave an entry.
constexpr const char* keep = R"lua(
local gone = {}
for i = 3, #ARGV do
  local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if (owner and owner[2] ~= ARGV[2]) or #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    gone[#gone + 1] = ARGV[i]
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'FORCE', 'JUSTID')
  end
end
return gone
)lua";

// The item may lie on the stream under another entry by now, put on again by a coordinator. A run
// that was taken off meanwhile has nobody who would read its results.
constexpr const char* settle = R"lua(
local group, run, id, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local function remove(entry)
  redis.call('XACK', KEYS[1], group, entry)
  redis.call('XDEL', KEYS[1], entry)
end
for i = 5, #ARGV do remove(ARGV[i]) end
local entry = redis.call('HGET', KEYS[2], id)
if entry then
  remove(entry)
  redis.call('HDEL', KEYS[2], id)
end
if redis.call('HEXISTS', KEYS[4], run) == 1 then
  redis.call('XADD', KEYS[3], '*', 'result', result)
end
return 1
)lua";

constexpr const char* give_back = R"lua(
local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[4], 1)[1]
if owner and owner[2] == ARGV[3] then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[4], 'RETRYCOUNT', ARGV[5], 'JUSTID')
end
return 1
)lua";

// Removing a consumer would forget what it has in hand.
constexpr const char* leave = R"lua(
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 1
)lua";

// Boxes that were not heard of for a minute do not count; ones that left nothing in hand are
// forgotten.
constexpr const char* state = R"lua(
local group, box, workers = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if box ~= '' then
  redis.call('ZADD', KEYS[2], now, box)
  redis.call('HSET', KEYS[3], box, workers)
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 60000)) do
  redis.call('ZREM', KEYS[2], old)
  redis.call('HDEL', KEYS[3], old)
  if #redis.call('XPENDING', KEYS[1], group, '-', '+', 1, old) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, old)
  end
end
local total, handed_out = 0, 0
for _, n in ipairs(redis.call('HVALS', KEYS[3])) do total = total + n end
for _, owner in ipairs(redis.call('XPENDING', KEYS[1], group)[4] or {}) do
  if owner[1] ~= ARGV[4] then handed_out = handed_out + owner[2] end
end
return {redis.call('ZCARD', KEYS[2]), total, redis.call('XLEN', KEYS[1]), handed_out}
)lua";

}  // namespace backlot::scripts
