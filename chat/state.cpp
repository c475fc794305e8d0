#include "chat/state.h"
