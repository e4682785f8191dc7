#include "engine/loader.h"

namespace backlot {}
