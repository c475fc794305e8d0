#include "chat/record.h"
