#include "fleet/fleet_progress.h"

namespace backlot {

std::string_view worker_state_name(WorkerState state) {
  switch (state) {
    case WorkerState::starting:
      return "starting";
    case WorkerState::idle:
      return "idle";
    case WorkerState::loading:
      return "loading";
    case WorkerState::working:
      return "working";
    case WorkerState::ended:
      return "ended";
    case WorkerState::set_aside:
      return "set aside";
  }
  return "";
}

}  // namespace backlot
