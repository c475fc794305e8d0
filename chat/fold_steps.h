// What fold.cpp and fold_members.cpp share: one record on its way through the fold. Not for use outside of chat/.
#pragma once

#include <string>

#include "chat/fold.h"

namespace parley::chat::fold_steps {

// Every step decides first and changes the state last: a verdict that leaves the state alone never touched it.
struct Step {
  ConversationState& state;
  const Record& record;
  Offset offset;
  TimeMs time;  // R4: never before the conversation's last event
};

// Makes the next event: seq, number, chain, consumed id. The one place where these move.
Event emit(const Step& step, EventKind kind, std::string body);

// Muted until a time, as far as log time tells; 0 is without end.
inline bool in_force(const std::optional<TimeMs>& until, TimeMs now) { return until && (until->value == 0 || *until > now); }

// Existence and membership (D57). Code::ok: the actor is a member.
Code admit(const Step& step);

Verdict create(const Step& step, const op::Create& create);
Verdict update(const Step& step, const op::Update& update);
Verdict add(const Step& step, const op::Add& add);
Verdict remove(const Step& step, const op::Remove& remove);
Verdict set_role(const Step& step, const op::SetRole& set);
Verdict mute(const Step& step, const op::Mute& mute);
Verdict leave(const Step& step);
Verdict dissolve(const Step& step);

}  // namespace parley::chat::fold_steps
