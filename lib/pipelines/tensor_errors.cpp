#include "pipelines/tensor_errors.h"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "base/error.h"

namespace backlot {
namespace {

[[noreturn]] void throw_out_of_memory(const std::string& where, const std::string& detail) {
  throw OutOfMemory(where, "the memory does not suffice: " + detail,
                    "make smaller batches or pictures, or set vae_tiling");
}

// Only the GPU allocators have a type of their own for it.
bool tells_of_memory(std::string_view message) {
  return message.find("can't allocate memory") != std::string_view::npos ||
         message.find("not enough memory") != std::string_view::npos ||
         message.find("CUDA out of memory") != std::string_view::npos;
}

}  // namespace

void in_our_words(const std::string& where, const std::function<void()>& work) {
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  try {
    work();
  } catch (const c10::OutOfMemoryError& error) {
    throw_out_of_memory(where, first_line(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string message = first_line(error.what_without_backtrace());
    if (tells_of_memory(message)) throw_out_of_memory(where, message);
    throw ItemError(where, "the computation failed: " + message,
                    "report it with the job that shows it");
  } catch (const std::bad_alloc&) {
    throw_out_of_memory(where, "the system gave no more");
  }
}

}  // namespace backlot
