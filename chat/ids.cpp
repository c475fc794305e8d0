#include "chat/ids.h"
