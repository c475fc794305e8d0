#include "chat/codes.h"
