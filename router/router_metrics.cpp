#include "router/router_metrics.h"

namespace parley::router {

RouterMetrics::RouterMetrics(runtime::Metrics& m)
    : records_{m.counter("parley_router_records_total", "Records taken from owned partitions.")},
      malformed_{m.counter("parley_router_malformed_records_total", "Records that could not be decoded: folded as rejected, passed over.")},
      deliveries_{m.counter("parley_router_deliveries_total", "Outcomes handed to gateways: one per record and gateway concerned.")},
      evictions_{m.counter("parley_router_evictions_total", "Conversations forgotten because the cache was full.")},
      loads_done_{m.counter("parley_router_cold_loads_total", "Conversations read from PostgreSQL.", {{"result", "done"}})},
      loads_refused_{m.counter("parley_router_cold_loads_total", "Conversations read from PostgreSQL.", {{"result", "too_old"}})},
      loads_failed_{m.counter("parley_router_cold_loads_total", "Conversations read from PostgreSQL.", {{"result", "failed"}})},
      dropped_{m.counter("parley_router_parked_bodies_dropped_total", "Parked records whose bodies did not fit: their outcomes come from PostgreSQL.")},
      opened_{m.counter("parley_router_streams_opened_total", "Streams that gateways opened.")},
      overflowed_{m.counter("parley_router_streams_broken_total", "Streams broken by this side.", {{"reason", "overflow"}})},
      silent_{m.counter("parley_router_streams_broken_total", "Streams broken by this side.", {{"reason", "silence"}})},
      shed_{m.counter("parley_router_ephemeral_shed_total", "Typing and the like left out because a gateway was slow.")},
      messages_{m.counter("parley_router_link_messages_total", "Messages written to gateways, each a batch.")},
      bytes_{m.counter("parley_router_link_bytes_total", "Bytes of the messages written to gateways.")},
      streams_(m.gauge("parley_router_streams", "Gateways attached.")),
      users_(m.gauge("parley_router_home_users", "Users that have their home here.")),
      registrations_(m.gauge("parley_router_registrations", "Users registered, counted once per gateway.")),
      conversations_(m.gauge("parley_router_conversations", "Conversations held in memory.")),
      cached_bytes_(m.gauge("parley_router_cached_bytes", "About what the conversations held take in memory.")),
      parked_(m.gauge("parley_router_parked_conversations", "Conversations whose records wait for a cold load.")),
      parked_bytes_(m.gauge("parley_router_parked_bytes", "Bytes of records that wait for a cold load.")),
      partitions_(m.gauge("parley_router_partitions", "Partitions owned.")),
      stopped_(m.gauge("parley_router_stopped_partitions", "Partitions stopped at a record of a newer fold version.")),
      behind_(m.gauge("parley_router_progress_lag_records", "Records taken whose outcome is not sent yet.")),
      loading_(m.gauge("parley_router_cold_loads_waiting", "Cold loads asked for and not answered yet.")),
      ring_members_(m.gauge("parley_router_ring_members", "Routers in this router's view of the ring.")),
      takeovers_(m.counter("parley_router_takeovers_total", "Partitions taken over.")),
      fold_(m.stage(runtime::Stage::fold)),
      dispatch_(m.stage(runtime::Stage::dispatch)) {}

void RouterMetrics::sample(const Core::Stats& core, const LinkServer::Stats& link, std::size_t stopped_partitions) {
  records_.to(core.records);
  malformed_.to(core.malformed);
  deliveries_.to(core.deliveries);
  evictions_.to(core.evictions);
  loads_done_.to(core.loads);
  loads_refused_.to(core.loads_refused);
  loads_failed_.to(core.loads_failed);
  dropped_.to(core.parked_dropped);
  opened_.to(link.opened);
  overflowed_.to(link.overflowed);
  silent_.to(link.silent);
  shed_.to(link.shed);
  messages_.to(link.messages);
  bytes_.to(link.bytes);
  streams_.set(static_cast<double>(core.streams));
  users_.set(static_cast<double>(core.users));
  registrations_.set(static_cast<double>(core.registrations));
  conversations_.set(static_cast<double>(core.conversations));
  cached_bytes_.set(static_cast<double>(core.cached_bytes));
  parked_.set(static_cast<double>(core.parked));
  parked_bytes_.set(static_cast<double>(core.parked_bytes));
  partitions_.set(static_cast<double>(core.partitions));
  stopped_.set(static_cast<double>(stopped_partitions));
  behind_.set(static_cast<double>(core.behind));
  loading_.set(static_cast<double>(core.loads_waiting));
}

}  // namespace parley::router
