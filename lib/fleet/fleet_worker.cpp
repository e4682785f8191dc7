#include "fleet/fleet_worker.h"

#include <fmt/format.h>
#include <signal.h>

#include <fstream>
#include <utility>

#include "fleet/batching.h"
#include "spec/item_json.h"

namespace backlot {
namespace {

constexpr double longest_stopped = 10;  // seconds

// "T": by SIGSTOP or a debugger.
bool is_stopped(pid_t pid) {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(stat, text);
  const size_t name_end = text.rfind(") ");
  return name_end != std::string::npos && text.substr(name_end + 2, 1) == "T";
}

Json cache_json(const std::optional<CacheTarget>& cache) {
  if (!cache) return nullptr;
  const auto& limits = cache->limits;
  return {{"folder", cache->folder.string()},
          {"max_bytes", limits.max_bytes ? Json(*limits.max_bytes) : Json()},
          {"max_age", limits.max_age ? Json(*limits.max_age) : Json()},
          {"version", cache->version}};
}

Json run_json(const RunTarget& run, const std::string& worker) {
  return {{"folder", run.folder.string()},
          {"journal", run.journals + worker},
          {"output", to_json(run.output)},
          {"dtype", run.dtype},
          {"quantization", run.quantization},
          {"batch_size", run.batch_size},
          {"allow_lower_precision", run.allow_lower_precision},
          {"checkpoint_steps", run.checkpoint_steps ? Json(*run.checkpoint_steps) : Json()},
          {"cache", cache_json(run.cache)}};
}

}  // namespace

FleetWorker::FleetWorker(std::string name, std::string device, std::vector<std::string> command,
                         int inherited, FleetProgress& progress, HangWatch& hangs)
    : command_(std::move(command)), inherited_(inherited), progress_(progress), hangs_(hangs) {
  view_.name = std::move(name);
  view_.device = std::move(device);
}

void FleetWorker::start() {
  if (view_.state != WorkerState::starting) ++view_.restarts;
  kills_before_ = out_of_memory_kills();
  process_ = std::make_unique<WorkerProcess>(command_, inherited_);
  ready_ = busy_ = asked_ = false;
  run_.reset();
  holds_.clear();
  failure_.reset();
  silence_ = Stopwatch();
  changed(WorkerState::starting);
}

void FleetWorker::set_aside(const std::string& reason) {
  view_.reason = reason;
  changed(WorkerState::set_aside);
}

double FleetWorker::seconds_each() const {
  return made_ == 0 ? 0 : busy_seconds_ / static_cast<double>(made_);
}

void FleetWorker::hand(const Work& work, const WorkQueue& queue) {
  tell_run(work);
  Json list = Json::array();
  for (const Item* item : work.items) {
    list.push_back({{"item", to_json(*item)}, {"attempts", queue.tries_so_far(*item)}});
    in_hand_[item->id] = item;
  }
  process_->channel().send({{"make", std::move(list)}});
  batch_key_ = batch_key(*work.items.front());
  holds_ = pipeline_key(*work.items.front());
  busy_ = true;
  silence_ = busy_since_ = Stopwatch();
  list_in_hand();
  changed(WorkerState::working);
  for (const Item* item : work.items) progress_.item_started(*item, view_);
}

void FleetWorker::tell_run(const Work& work) {
  if (run_ == work.run) return;
  run_ = work.run;
  journal_from_ = journal_size();
  process_->channel().send({{"run", run_json(*run_, name())}});
}

uint64_t FleetWorker::journal_size() const {
  std::error_code absent;
  const auto size =
      fs::file_size(run_->folder / "journal" / (run_->journals + name() + ".jsonl"), absent);
  return absent ? 0 : size;
}

void FleetWorker::listen(WorkQueue& queue) {
  for (const auto& line : process_->read_errors()) (void)line;  // its end may quote the last one
  process_->channel().flush();
  for (const Json& message : process_->channel().receive()) {
    if (busy_ || !ready_) hangs_.heard(doing(), silence_.seconds());
    silence_ = Stopwatch();
    try {
      take_in(message, queue);
    } catch (const Json::exception& error) {
      failure_ = {"device", name(), std::string("said what no worker says: ") + error.what(), ""};
      process_->signal(SIGKILL);
    }
  }
}

void FleetWorker::take_in(const Json& message, WorkQueue& queue) {
  if (message.empty()) return;
  const std::string& what = message.begin().key();
  const Json& value = message.begin().value();
  if (what == "step") {
    step(value);
  } else if (what == "stage") {
    view_.stage = value;
    view_.step = view_.steps = 0;
    changed(view_.stage == "load" ? WorkerState::loading : WorkerState::working);
  } else if (what == "progress") {
    if (const Item* item = find(value.at(0)))
      progress_.item_progress(*item, value.at(1), value.at(2).get_ref<const std::string&>());
  } else if (what == "retried") {
    retried(value);
  } else if (what == "settled") {
    settle(value, queue);
  } else if (what == "free") {
    busy_ = false;
    busy_seconds_ += busy_since_.seconds();
    view_.stage.clear();
    changed(WorkerState::idle);
  } else if (what == "ready") {
    ready_ = true;
    changed(WorkerState::idle);
    for (const Json& note : value.at("notes"))
      progress_.warning(fmt::format("{}: {}", view_.device, note.get<std::string>()));
  } else if (what == "warning") {
    progress_.warning(value);
  } else if (what == "detail") {
    progress_.detail(value);
  } else if (what == "returned") {
    returned(value, queue);
  } else if (what == "failed") {
    failure_ = {value.at("kind"), value.at("where"), value.at("what"), value.at("mend")};
  }
}

void FleetWorker::step(const Json& numbers) {
  view_.step = numbers.at(0);
  view_.steps = numbers.at(1);
  view_.batch = numbers.at(2);
  changed(WorkerState::working);
}

// By the worker itself, in whose hands it stays.
void FleetWorker::retried(const Json& news) {
  const Item* item = find(news.at(0));
  if (!item) return;
  progress_.item_retried(*item, news.at(1));
  progress_.item_queued(*item);
  progress_.item_started(*item, view_);
}

const Item* FleetWorker::find(const std::string& id) const {
  const auto found = in_hand_.find(id);
  return found == in_hand_.end() ? nullptr : found->second;
}

void FleetWorker::settle(const Json& line, WorkQueue& queue) {
  const auto record = record_from_json(line);
  const auto found = record ? in_hand_.find(record->id) : in_hand_.end();
  if (found == in_hand_.end()) return;
  const Item& item = *found->second;
  in_hand_.erase(found);
  ends_in_row = 0;
  ++made_;
  list_in_hand();
  if (record->status == ItemStatus::done) {
    ++view_.done;
    progress_.item_done(item, *record);
  } else {
    ++view_.failed;
    progress_.item_failed(item, record->error);
  }
  progress_.worker_changed(view_);
  queue.settled(item, *record);
}

void FleetWorker::returned(const Json& ids, WorkQueue& queue) {
  for (const Json& id : ids) {
    const auto found = in_hand_.find(id.get<std::string>());
    if (found == in_hand_.end()) continue;
    const Item& item = *found->second;
    in_hand_.erase(found);
    progress_.item_retried(item, name() + " gave it back");
    progress_.item_queued(item);
    queue.give_back(item);
  }
  list_in_hand();
}

std::optional<std::string> FleetWorker::hung() const {
  if (!alive()) return std::nullopt;
  const double silent = silence_.seconds();
  if (silent > longest_stopped && is_stopped(process_->pid()))
    return fmt::format("was stopped (SIGSTOP) for {:.0f} s", silent);
  // One that waits for work has nothing to say.
  if (ready_ && !busy_ && in_hand_.empty()) return std::nullopt;
  const double most = hangs_.deadline(doing());
  if (silent <= most) return std::nullopt;
  return fmt::format("gave no sign of life for {:.0f} s{}", silent,
                     view_.stage.empty() ? "" : fmt::format(" in stage {}", view_.stage));
}

std::string FleetWorker::doing() const {
  const std::string kind = view_.device.substr(0, view_.device.find(':'));
  if (!ready_) return kind + " start";
  if (!busy_) return kind + " write " + batch_key_;
  return fmt::format("{} {} {}", kind, view_.stage, batch_key_);
}

void FleetWorker::measure(const Device* device) {
  if (!alive()) return;
  const ProcessMemory memory = process_memory(process_->pid());
  view_.resident_bytes = memory.resident_bytes;
  view_.peak_resident_bytes = std::max(view_.peak_resident_bytes, memory.peak_bytes);
  if (device) note_reading(view_, *device);
  progress_.worker_changed(view_);
}

std::optional<FleetWorker::End> FleetWorker::bury(WorkQueue& queue,
                                                  const std::string& hung_reason) {
  const auto ended = process_->ended();
  if (!ended) return std::nullopt;
  listen(queue);
  if (run_) {
    const auto contents =
        read_journal(RootedFolder(run_->folder), run_->journals + name(), journal_from_);
    for (const Record& record : contents.records) settle(to_json(record), queue);
  }
  End end;
  end.failure = failure_;
  end.was_ready = ready_;
  for (const auto& entry : in_hand_) end.in_hand.push_back(entry.second);
  std::ranges::sort(end.in_hand, {}, &Item::index);
  end.loss.worker = name();
  end.loss.device = view_.device;
  end.loss.reason = !hung_reason.empty() ? hung_reason
                    : failure_           ? failure_->what
                                         : ended->text(process_->last_words());
  const bool killed = hung_reason.empty() && ended->by_signal(SIGKILL);
  end.loss.out_of_memory = killed && out_of_memory_kills() > kills_before_;
  if (end.loss.out_of_memory) end.loss.reason = "was ended by the kernel for want of memory";
  end.loss.own_fault = (!killed && !ended->by_request()) || end.loss.out_of_memory;
  process_.reset();
  in_hand_.clear();
  list_in_hand();
  ready_ = busy_ = false;
  holds_.clear();
  view_.stage.clear();
  view_.resident_bytes = 0;
  // One that ended as it was asked to needs no explaining.
  view_.reason = asked_ ? "" : end.loss.reason;
  changed(WorkerState::ended);
  return end;
}

void FleetWorker::ask_to_stop() {
  asked_ = true;
  process_->signal(SIGTERM);
  process_->channel().close_sending();
}

void FleetWorker::list_in_hand() {
  view_.in_hand.clear();
  for (const auto& entry : in_hand_) view_.in_hand.push_back(entry.second);
}

void FleetWorker::changed(WorkerState state) {
  view_.state = state;
  progress_.worker_changed(view_);
}

}  // namespace backlot
