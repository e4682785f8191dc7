// Which quarters of an item's steps have passed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace backlot {

class Quarters {
 public:
  // Of 0, 25, 50 and 75 percent those that `done` of `total` steps pass and none before did. 0 is
  // passed by the first step: it says that work goes on. 100 is not for steps to say.
  std::vector<int> passed_by(int64_t done, int64_t total) const {
    std::vector<int> marks;
    for (size_t i = next_; i < percents.size(); ++i)
      if (done > 0 && done * 100 >= percents[i] * total) marks.push_back(percents[i]);
    return marks;
  }

  // The same, and from now on they have passed.
  std::vector<int> pass(int64_t done, int64_t total) {
    auto marks = passed_by(done, total);
    next_ += marks.size();
    return marks;
  }

 private:
  static constexpr std::array percents = {0, 25, 50, 75};
  size_t next_ = 0;
};

}  // namespace backlot
