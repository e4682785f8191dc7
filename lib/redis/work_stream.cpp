#include "redis/work_stream.h"

#include <algorithm>

#include "redis/scripts.h"

namespace backlot {
namespace {

constexpr const char* group = "boxes";

// The consumer that holds what was given back.
constexpr const char* shelf = "(given back)";

Delivery delivery_of(const RedisReply& entry) {
  const auto& parts = entry.list(2);
  Delivery delivery;
  delivery.entry = parts[0].text();
  const auto& fields = parts[1].list();
  for (size_t i = 0; i + 1 < fields.size(); i += 2) {
    const std::string &key = fields[i].text(), &value = fields[i + 1].text();
    if (key == "run") delivery.run = value;
    if (key == "id") delivery.id = value;
    if (key == "item") delivery.item = value;
    if (key == "target") delivery.target = value;
  }
  return delivery;
}

// Of {owner, deliveries, entry} each.
std::vector<Delivery> owned_deliveries(const RedisReply& reply) {
  std::vector<Delivery> deliveries;
  for (const auto& one : reply.list()) {
    const auto& parts = one.list(3);
    Delivery delivery = delivery_of(parts[2]);
    if (parts[0].text() != shelf) delivery.from = parts[0].text();
    delivery.deliveries = parts[1].integer();
    deliveries.push_back(std::move(delivery));
  }
  return deliveries;
}

// The entries of the one stream that was read; none if nothing came.
const RedisReply::List& entries_read(const RedisReply& reply) {
  static const RedisReply::List none;
  return reply.nil() ? none : reply.list(1)[0].list(2)[1].list();
}

WorkStream::State state_of(const RedisReply& reply) {
  const auto& parts = reply.list(4);
  WorkStream::State state;
  state.boxes = parts[0].integer();
  state.workers = parts[1].integer();
  state.entries = parts[2].integer();
  state.handed_out = parts[3].integer();
  return state;
}

}  // namespace

WorkStream::WorkStream(RedisClient& client, const std::string& name)
    : client_(client),
      name_(name),
      items_(name + ":items"),
      runs_(name + ":runs"),
      seen_(name + ":seen"),
      workers_(name + ":workers") {}

std::string WorkStream::run_key(const char* kind, const std::string& run) const {
  return name_ + ":" + kind + ":" + run;
}

RedisReply WorkStream::script(const char* text, std::vector<std::string> keys,
                              std::vector<std::string> arguments) {
  std::vector<std::string> command{"EVAL", text, std::to_string(keys.size())};
  std::ranges::move(keys, std::back_inserter(command));
  std::ranges::move(arguments, std::back_inserter(command));
  return client_.command(command);
}

void WorkStream::make_group() {
  try {
    client_.command({"XGROUP", "CREATE", items_, group, "0", "MKSTREAM"});
  } catch (const RedisRefused& refusal) {
    if (!refusal.problem().starts_with("BUSYGROUP")) throw;
  }
}

bool WorkStream::enter_run(const std::string& run, const std::string& about) {
  return client_.command({"HSET", runs_, run, about}).integer() == 0;
}

int64_t WorkStream::add(const std::string& run, const std::string& target,
                        std::span<const QueuedItem> items, Add what) {
  std::vector<std::string> arguments{group, shelf, run, target,
                                     what == Add::replace ? "replace" : ""};
  for (const auto& [id, item] : items) {
    arguments.push_back(id);
    arguments.push_back(item);
  }
  return script(scripts::add, {items_, run_key("queued", run)}, std::move(arguments)).integer();
}

std::unordered_set<std::string> WorkStream::queued(const std::string& run) {
  std::unordered_set<std::string> ids;
  const RedisReply reply = client_.command({"HKEYS", run_key("queued", run)});
  for (const auto& id : reply.list()) ids.insert(id.text());
  return ids;
}

int64_t WorkStream::count_queued(const std::string& run) {
  return client_.command({"HLEN", run_key("queued", run)}).integer();
}

std::vector<std::string> WorkStream::results(const std::string& run, std::string& last,
                                             std::chrono::milliseconds wait) {
  const std::string key = run_key("results", run);
  std::vector<std::string> command{"XREAD", "COUNT", "500"};
  if (wait.count() > 0) {  // 0 would wait for ever
    command.push_back("BLOCK");
    command.push_back(std::to_string(wait.count()));
  }
  for (const std::string& word : {std::string("STREAMS"), key, last}) command.push_back(word);
  std::vector<std::string> results;
  const RedisReply reply = client_.command(command);
  for (const auto& entry : entries_read(reply)) {
    const auto& parts = entry.list(2);
    results.push_back(parts[1].list(2)[1].text());
    last = parts[0].text();
  }
  if (!results.empty()) client_.command({"XTRIM", key, "MINID", last});
  return results;
}

void WorkStream::drop_results(const std::string& run) {
  client_.command({"DEL", run_key("results", run)});
}

void WorkStream::remove_run(const std::string& run) {
  const std::vector<std::string> keys{items_, run_key("queued", run)};
  while (script(scripts::remove_some, keys, {group}).integer() > 0) continue;
  client_.command({"HDEL", runs_, run});
  drop_results(run);
}

std::vector<Delivery> WorkStream::read(const std::string& box, int64_t count) {
  std::vector<Delivery> deliveries;
  const RedisReply reply = client_.command(
      {"XREADGROUP", "GROUP", group, box, "COUNT", std::to_string(count), "STREAMS", items_, ">"});
  for (const auto& entry : entries_read(reply)) deliveries.push_back(delivery_of(entry));
  return deliveries;
}

std::vector<Delivery> WorkStream::take_over(const std::string& box,
                                            std::optional<std::chrono::milliseconds> min_idle,
                                            int64_t count) {
  return owned_deliveries(
      script(scripts::take_over, {items_},
             {group, shelf, box, min_idle ? std::to_string(min_idle->count()) : "",
              std::to_string(count)}));
}

std::vector<Delivery> WorkStream::held(const std::string& box) {
  auto deliveries = owned_deliveries(script(scripts::held, {items_}, {group, box}));
  for (auto& delivery : deliveries) delivery.from.clear();
  return deliveries;
}

std::vector<std::string> WorkStream::keep(const std::string& box,
                                          std::span<const std::string> entries) {
  std::vector<std::string> gone;
  constexpr size_t at_once = 1000;  // a script is given its arguments on a small stack
  for (size_t at = 0; at < entries.size(); at += at_once) {
    std::vector<std::string> arguments{group, box};
    const auto some = entries.subspan(at, std::min(at_once, entries.size() - at));
    arguments.insert(arguments.end(), some.begin(), some.end());
    const RedisReply reply = script(scripts::keep, {items_}, std::move(arguments));
    for (const auto& entry : reply.list()) gone.push_back(entry.text());
  }
  return gone;
}

void WorkStream::settle(const std::string& run, const std::string& id,
                        std::span<const std::string> entries, const std::string& result) {
  std::vector<std::string> arguments{group, run, id, result};
  arguments.insert(arguments.end(), entries.begin(), entries.end());
  script(scripts::settle, {items_, run_key("queued", run), run_key("results", run), runs_},
         std::move(arguments));
}

void WorkStream::give_back(const std::string& box, const std::string& entry, int64_t deliveries) {
  script(scripts::give_back, {items_}, {group, shelf, box, entry, std::to_string(deliveries)});
}

void WorkStream::leave(const std::string& box) {
  script(scripts::leave, {items_, seen_, workers_}, {group, box});
}

WorkStream::State WorkStream::state() {
  return state_of(script(scripts::state, {items_, seen_, workers_}, {group, "", "", shelf}));
}

WorkStream::State WorkStream::beat(const std::string& box, int64_t workers) {
  return state_of(script(scripts::state, {items_, seen_, workers_},
                         {group, box, std::to_string(workers), shelf}));
}

}  // namespace backlot
