// Results as tables: for a terminal and for the page, from the same cells.
#pragma once

#include <string>
#include <vector>

#include "bench/compare.h"
#include "bench/results.h"

namespace backlot {

struct Table {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
  size_t words = 1;    // columns, from the left, that hold words; the others hold numbers
  bool facts = false;  // names and values: no head
};

// A table of the suite's cases; for kernels one for each device, precision and network. None if
// the suite has no cases.
std::vector<Table> suite_tables(const BenchResults& results, const std::string& suite);

Table comparison_table(const Comparison& comparison);

// Aligned with spaces, a line a row.
std::string text_table(const Table& table);

std::string html_table(const Table& table);

// Three significant digits: "1.23 s", "45.6 ms", "789 µs".
std::string human_seconds(double seconds);

// "1.23 T", "456 G": for FLOP/s and bytes a second.
std::string human_rate(double per_second);

// A part of a ceiling, "85.0 %", and what lies beyond it, "1.90x".
std::string human_share(double of_ceiling);

}  // namespace backlot
