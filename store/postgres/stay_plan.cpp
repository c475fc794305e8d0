#include "store/postgres/stay_plan.h"

#include <unordered_map>

namespace parley::store::postgres {

StayPlan plan_stays(const std::vector<ConversationWrite>& writes) {
  StayPlan plan;
  for (const ConversationWrite& write : writes) {
    std::unordered_map<UserId, std::size_t> open;  // begun in this batch and not ended yet: index into plan.begins
    bool opened = false;
    for (const StayWrite& stay : write.stays) {
      switch (stay.what) {
        case StayWrite::What::begins:
          open[stay.user] = plan.begins.size();
          plan.begins.push_back({write.id, stay.user, stay.seq, stay.from, std::nullopt});
          break;
        case StayWrite::What::ends:
          if (const auto at = open.find(stay.user); at != open.end()) {
            plan.begins[at->second].to = stay.seq;
            open.erase(at);
          } else {
            (opened ? plan.ends_after : plan.ends_before).push_back({write.id, stay.user, stay.seq});
          }
          break;
        case StayWrite::What::opens:
          for (const auto& [user, index] : open) plan.begins[index].from = Seq{1};
          // Open stays from before the batch begin at 1 from the first time on: a second time changes nothing for them.
          if (!opened) plan.opens.push_back(write.id);
          opened = true;
          break;
      }
    }
  }
  return plan;
}

}  // namespace parley::store::postgres
