#include "chat/fold.h"
