#include "language/schedule.h"

#include <algorithm>
#include <span>

namespace backlot {

Schedule::Schedule(BlockPool pool, int64_t max_sequences)
    : pool_(std::move(pool)), max_sequences_(max_sequences) {}

void Schedule::add(std::unique_ptr<Sequence> sequence) {
  const int64_t id = sequence->id;
  waiting_.emplace(id, std::move(sequence));
}

std::unique_ptr<Sequence> Schedule::remove(int64_t id) {
  auto node = running_.extract(id);
  if (!node) node = waiting_.extract(id);
  if (!node) return nullptr;
  give_back(*node.mapped());
  return std::move(node.mapped());
}

Sequence* Schedule::find(int64_t id) const {
  for (const auto* sequences : {&running_, &waiting_})
    if (const auto found = sequences->find(id); found != sequences->end())
      return found->second.get();
  return nullptr;
}

std::vector<Schedule::Run> Schedule::plan(int64_t most_tokens) {
  extend_running();
  admit(most_tokens);
  std::vector<Run> runs;
  int64_t left = most_tokens;
  for (const bool last_token : {true, false})
    for (const auto& [id, sequence] : running_) {
      if ((sequence->pending() == 1) != last_token || left == 0) continue;
      const int64_t tokens = std::min(left, sequence->pending());
      runs.push_back({sequence.get(), tokens});
      left -= tokens;
    }
  return runs;
}

void Schedule::finish(const Run& run) {
  Sequence& s = *run.sequence;
  s.computed += run.tokens;
  const int64_t size = pool_.block_tokens();
  const std::span<const int32_t> blocks = s.blocks, tokens = s.tokens;
  while ((s.published + 1) * size <= s.computed) {
    s.blocks[s.published] =
        pool_.publish(blocks.first(s.published + 1), tokens.subspan(s.published * size, size));
    ++s.published;
  }
}

// Gives every running sequence the block that its last token needs, from the oldest on.
void Schedule::extend_running() {
  for (auto it = running_.begin(); it != running_.end();) {
    const int64_t id = it->first;
    Sequence& s = *it->second;
    bool kept = true;
    while (kept && s.blocks.size() * pool_.block_tokens() < s.tokens.size()) {
      if (const auto block = pool_.allocate()) {
        s.blocks.push_back(*block);
      } else {
        kept = std::prev(running_.end())->first != id;
        preempt_youngest();
      }
    }
    it = running_.upper_bound(id);
  }
}

void Schedule::admit(int64_t most_tokens) {
  int64_t left = most_tokens;
  for (const auto& [id, sequence] : running_) left -= sequence->pending();
  // Of a long queue whose prompts all begin alike only the front is looked at.
  int64_t looks = max_sequences_;
  for (auto it = waiting_.begin(); it != waiting_.end() && looks-- > 0;) {
    if (left <= 0 || static_cast<int64_t>(running_.size()) >= max_sequences_) return;
    Sequence& s = *it->second;
    const auto known = pool_.known(s.tokens, shareable(s));
    if (will_be_known(s, known.blocks)) {
      ++it;
      continue;
    }
    if (!try_begin(s, known)) return;  // younger ones must not take what it waits for
    left -= s.pending();
    running_.insert(waiting_.extract(it++));
  }
}

bool Schedule::try_begin(Sequence& s, const BlockPool::Known& known) {
  const auto tokens = static_cast<int64_t>(s.tokens.size());
  // Where others run, each keeps room for a block more, lest they soon send this one back.
  const auto reserve = static_cast<int64_t>(running_.size());
  if (pool_.blocks_for(tokens) - known.in_use > pool_.available() - reserve) return false;
  s.blocks = pool_.share(s.tokens, shareable(s));
  s.published = static_cast<int64_t>(s.blocks.size());
  s.computed = s.published * pool_.block_tokens();
  if (s.shared < 0) s.shared = s.computed;
  while (static_cast<int64_t>(s.blocks.size()) < pool_.blocks_for(tokens))
    s.blocks.push_back(pool_.allocate().value());
  return true;
}

// Whether a running sequence is going to publish more of its beginning than is known by now.
bool Schedule::will_be_known(const Sequence& s, int64_t known_blocks) const {
  const int64_t size = pool_.block_tokens();
  for (const auto& [id, other] : running_) {
    const int64_t blocks =
        std::min(shareable(s), static_cast<int64_t>(other->tokens.size()) / size);
    if (blocks <= known_blocks || other->published > known_blocks) continue;
    const auto end = (known_blocks + 1) * size;  // a block more is worth waiting for
    if (std::equal(s.tokens.begin(), s.tokens.begin() + end, other->tokens.begin())) return true;
  }
  return false;
}

void Schedule::preempt_youngest() {
  auto node = running_.extract(std::prev(running_.end()));
  give_back(*node.mapped());
  waiting_.insert(std::move(node));
  ++preemptions_;
}

void Schedule::give_back(Sequence& s) {
  pool_.release(s.blocks);
  s.blocks.clear();
  s.computed = s.published = 0;
}

int64_t Schedule::shareable(const Sequence& s) const {
  return (static_cast<int64_t>(s.tokens.size()) - 1) / pool_.block_tokens();
}

}  // namespace backlot
