//! What settings of several levels and destinations mean together: batches and headers, unused destinations, levels
//! that hide each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::context::{Context, join};
use super::fault::shown_key;
use super::levels::KINDS;
use super::model::{BatchBody, Batching, Config, Format, Level, NamespaceRules, Overrides, PortRules, Routing, Rules};
use super::value::{self, show_duration, show_size};
use super::view::View;

/// Most kinds of records that the levels of a file may tell apart: each is looked at here, and has a place in the table
/// that executors read.
const MAX_KINDS_OF_RECORDS: usize = 100_000;

/// Looks at the whole.
pub fn check(context: &mut Context<'_>, root: &View<'_>, config: &Config, routing_has_fault: bool) {
    if !routing_has_fault {
        routes(context, root, config);
    }
    hidden(context, root, &config.rules);
    files(context, root, config);
    batches(context, root, config);
}

/// Files that are written.
fn files(context: &mut Context<'_>, root: &View<'_>, config: &Config) {
    let Some(rejected) = &config.rejected else { return };
    if config.logging.file.as_ref() == Some(&rejected.file) {
        root.fault(context, "rejected-file", "the same file as `logging.file`; write another one".to_owned());
    }
    // Base64 has four letters for three bytes; the rest of a line is small.
    let largest = u64::from(config.limits.max_frame_bytes) / 3 * 4 + REST_OF_A_LINE;
    if rejected.max_bytes < largest {
        let message = format!(
            "a frame of `limits.max-frame-bytes` ({}) does not fit in the file: such a record would be sent again and again; \
             write at least {largest}",
            show_size(config.limits.max_frame_bytes.into())
        );
        root.warn(context, "rejected-file-max-bytes", message);
    }
}

/// Time, peer and reason of a rejected record.
const REST_OF_A_LINE: u64 = 4096;

/// Records without a route, destinations without a record.
fn routes(context: &mut Context<'_>, root: &View<'_>, config: &Config) {
    let mut routings = Vec::new();
    each_level(&config.rules, &mut |_, own| routings.extend(own.routing.as_ref()));
    let has_route = |port: &u16| config.rules.ports.iter().any(|it| it.port == *port && it.own.routing.is_some());
    let ports = config.service.all_ports();
    let all_have_routes = !ports.is_empty() && ports.iter().all(has_route);
    if config.rules.top.routing.is_none() && !config.destinations.is_empty() && !all_have_routes {
        let example = "`routing: { mode: static-multi-destination, destinations: [ NAME ] }`";
        let message = if routings.is_empty() {
            format!("missing: every record is acked and none is delivered; write {example}")
        } else {
            "missing: records for which no namespace, set or port has a `routing` are acked and not delivered; \
             write `routing: { mode: skip }` if that is meant"
                .to_owned()
        };
        context.warn(root.at, "routing", message);
    }
    if routings.is_empty() {
        return;
    }
    let used: BTreeSet<usize> = routings.iter().flat_map(|routing| destinations_of(routing)).copied().collect();
    let Some(section) = root.find("destinations") else { return };
    for (index, destination) in config.destinations.iter().enumerate() {
        if let Some(entry) = section.value.get(&destination.name).filter(|_| !used.contains(&index)) {
            let message = "no `routing` names it, so no record goes there; add it to one, or take it out".to_owned();
            context.warn(entry.key_at, &join("destinations", &destination.name), message);
        }
    }
}

fn destinations_of(routing: &Routing) -> &[usize] {
    match routing {
        Routing::Destinations(list) => list,
        Routing::Skip => &[],
    }
}

/// A setting of a port block holds also where a namespace or set has one of its own: that may be a surprise.
fn hidden(context: &mut Context<'_>, root: &View<'_>, rules: &Rules) {
    for port in &rules.ports {
        let block = Level { port: Some(port.port), namespace: None, set: None };
        for kind in KINDS.iter().filter(|kind| says(&port.own, kind)) {
            hides(context, root, port, (block, kind), &rules.namespaces);
        }
        for namespace in &port.namespaces {
            let global = rules.namespaces.iter().find(|global| global.name == namespace.name);
            let level = Level { namespace: Some(&namespace.name), ..block };
            for kind in KINDS.iter().filter(|kind| says(&namespace.own, kind)) {
                hides(context, root, port, (level, kind), global.map(std::slice::from_ref).unwrap_or_default());
            }
        }
    }
}

/// Says that `kind` of this level of `port` hides that of `namespaces` or their sets, unless the port repeats it there.
fn hides(
    context: &mut Context<'_>,
    root: &View<'_>,
    port: &PortRules,
    (level, kind): (Level<'_>, &str),
    namespaces: &[NamespaceRules],
) {
    let whole_port = level.namespace.is_none();
    let mut others = namespaces.iter().flat_map(|namespace| {
        let special = port.namespaces.iter().find(|special| special.name == namespace.name);
        let covered = whole_port && special.is_some_and(|special| says(&special.own, kind));
        let own = Level { port: None, namespace: Some(&namespace.name), set: None };
        let own_says = whole_port && !covered && says(&namespace.own, kind);
        let sets = namespace.sets.iter().filter(move |(name, own)| {
            let repeats =
                |special: &NamespaceRules| special.sets.iter().any(|(set, own)| set == name && says(own, kind));
            !covered && says(own, kind) && !special.is_some_and(repeats)
        });
        own_says.then_some(own).into_iter().chain(sets.map(move |(name, _)| Level { set: Some(name), ..own }))
    });
    let Some(first) = others.next() else { return };
    let more = match others.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let Some(view) = place(root, &level, kind) else { return };
    let message = format!(
        "holds for records of port {}, not `{}`{more}: a port's settings come before those of namespaces and sets; \
         repeat it in the port's `namespaces` if it is to hold there, too",
        port.port,
        first.path(kind)
    );
    context.warn(view.at, &level.path(kind), message);
}

fn says(own: &Overrides, kind: &str) -> bool {
    match kind {
        "routing" => own.routing.is_some(),
        "format" => own.format.is_some(),
        "bin-transforms" => own.bin_transforms.is_some(),
        "record-ordering" => own.ordering.is_some(),
        _ => own.batching.is_some(),
    }
}

/// The section of `kind` at `level`.
fn place<'n>(root: &View<'n>, level: &Level<'_>, kind: &str) -> Option<View<'n>> {
    let mut steps = Vec::new();
    let port = level.port.map(|port| port.to_string());
    if let Some(port) = &port {
        steps.extend(["port-based-config", port]);
    }
    steps.extend(level.namespace.iter().flat_map(|name| ["namespaces", name]));
    steps.extend(level.set.iter().flat_map(|name| ["sets", name]));
    steps.push(kind);
    let mut entry = root.find(steps.first()?)?;
    for step in steps.iter().skip(1) {
        entry = entry.value.get(step)?;
    }
    Some(View::again(entry, level.path(kind)))
}

/// What the records of one `batching` section can be.
#[derive(Default)]
struct Batched {
    destinations: BTreeSet<usize>,
    json: bool,
    other: Option<&'static str>,
}

fn batches(context: &mut Context<'_>, root: &View<'_>, config: &Config) {
    let mut sections = Vec::new();
    each_level(&config.rules, &mut |level, own| {
        sections.extend(own.batching.as_ref().filter(|batching| batching.enabled).map(|batching| (level, batching)));
    });
    let kinds = kinds_of_records(&config.rules);
    if kinds > MAX_KINDS_OF_RECORDS {
        let message = format!(
            "{kinds} combinations of port, namespace and set, more than {MAX_KINDS_OF_RECORDS}; write fewer of them"
        );
        context.fault(root.at, "port-based-config", message);
        return;
    }
    if sections.is_empty() {
        return;
    }
    let mut batched: HashMap<Level<'_>, Batched> = HashMap::new();
    each_kind_of_record(config, &mut |chain| {
        let first = chain.iter().flatten().find_map(|(level, own)| Some((*level, own.batching.as_ref()?)));
        let Some((level, _)) = first.filter(|(_, batching)| batching.enabled) else { return };
        let batched = batched.entry(level).or_default();
        if let Some(routing) = chain.iter().flatten().find_map(|(_, own)| own.routing.as_ref()) {
            batched.destinations.extend(destinations_of(routing));
        }
        match chain.iter().flatten().find_map(|(_, own)| own.format.as_ref()) {
            Some(Format::Json { .. } | Format::FlatJson { .. }) => batched.json = true,
            Some(Format::MessagePack { .. }) => batched.other = Some("message-pack"),
            Some(Format::Avro(_)) => batched.other = Some("avro"),
            Some(Format::Xdr) | None => batched.other = Some("xdr"),
        }
    });
    let mut of_one_record = BTreeMap::new();
    for (level, batching) in sections {
        let found = batched.remove(&level).unwrap_or_default();
        if let Some(view) = place(root, &level, "batching") {
            one_batching(context, &view, batching, &found, config);
        }
        for destination in found.destinations {
            of_one_record.entry(destination).or_insert(level);
        }
    }
    for (index, level) in of_one_record {
        headers_of_one_record(context, root, config, index, &level);
    }
}

/// What is odd about one `batching` section.
fn one_batching(context: &mut Context<'_>, view: &View<'_>, batching: &Batching, found: &Batched, config: &Config) {
    if let Some(format) = found.other.filter(|_| !found.json && batching.body == BatchBody::NdJson) {
        let message =
            format!("has no effect with the format of these records, `{format}`: it is for JSON; take it out");
        view.warn(context, "body", message);
    }
    let written = view.find("batch-interval").and_then(|entry| value::whole(&entry.value).ok());
    if written.and_then(|written| u128::try_from(written).ok()) != Some(batching.interval.as_millis()) {
        return;
    }
    let shortest = found
        .destinations
        .iter()
        .filter_map(|index| config.destinations.get(*index))
        .map(|destination| (config.limits.longest_batch_wait(destination.call_timeout), destination))
        .min_by_key(|(wait, _)| *wait);
    let Some((wait, destination)) = shortest.filter(|(wait, _)| batching.interval > *wait) else { return };
    let message = format!(
        "{} ms is above what `limits.record-deadline` leaves: a batch for {} is closed when its oldest record has only \
         {} of its {} left, so {} holds; write at most {}",
        batching.interval.as_millis(),
        shown_key(&destination.name),
        show_duration(config.limits.record_deadline.saturating_sub(wait)),
        show_duration(config.limits.record_deadline),
        show_duration(wait),
        wait.as_millis()
    );
    view.warn(context, "batch-interval", message);
}

fn headers_of_one_record(context: &mut Context<'_>, root: &View<'_>, config: &Config, index: usize, level: &Level<'_>) {
    let Some(destination) = config.destinations.get(index) else { return };
    let headers = root.find("destinations").and_then(|all| all.value.get(&destination.name)?.value.get("headers"));
    for header in destination.headers.list.iter().filter(|header| header.value.is_of_one_record()) {
        let Some(entry) = headers.and_then(|headers| headers.value.get(&header.name)) else { continue };
        let path = join(&join(&join("destinations", &destination.name), "headers"), &header.name);
        let message = format!(
            "differs from record to record, and `{}` puts several into one request; take the header out, or write \
             `enabled: false` there",
            level.path("batching")
        );
        context.fault(entry.key_at, &path, message);
    }
}

/// Calls `each` for every level, in the order top level, namespaces and sets, ports.
fn each_level<'r>(rules: &'r Rules, each: &mut dyn FnMut(Level<'r>, &'r Overrides)) {
    each(Level { port: None, namespace: None, set: None }, &rules.top);
    each_namespace(None, &rules.namespaces, each);
    for block in &rules.ports {
        each(Level { port: Some(block.port), namespace: None, set: None }, &block.own);
        each_namespace(Some(block.port), &block.namespaces, each);
    }
}

fn each_namespace<'r>(
    port: Option<u16>,
    namespaces: &'r [NamespaceRules],
    each: &mut dyn FnMut(Level<'r>, &'r Overrides),
) {
    for namespace in namespaces {
        let level = Level { port, namespace: Some(&namespace.name), set: None };
        each(level, &namespace.own);
        for (name, own) in &namespace.sets {
            each(Level { set: Some(name), ..level }, own);
        }
    }
}

/// At most so many kinds of records are told apart.
fn kinds_of_records(rules: &Rules) -> usize {
    let count = |namespaces: &[NamespaceRules]| 1 + namespaces.iter().map(|it| 1 + it.sets.len()).sum::<usize>();
    let global = count(&rules.namespaces);
    rules.ports.iter().map(|port| count(&port.namespaces).saturating_add(global)).sum::<usize>().saturating_add(global)
}

/// The levels that hold for one kind of record, the most special first (`model::Rules::resolve`).
type Chain<'r> = [Option<(Level<'r>, &'r Overrides)>; 6];

/// Calls `each` for every kind of record that the levels tell apart, names that no level has included.
fn each_kind_of_record<'r>(config: &'r Config, each: &mut dyn FnMut(&Chain<'r>)) {
    let rules = &config.rules;
    let has_block = |port: &u16| rules.ports.iter().any(|block| block.port == *port);
    let without_block = (!config.service.all_ports().iter().all(has_block)).then_some(None);
    for block in without_block.into_iter().chain(rules.ports.iter().map(Some)) {
        kinds_of_port(rules, block, each);
    }
}

fn kinds_of_port<'r>(rules: &'r Rules, block: Option<&'r PortRules>, each: &mut dyn FnMut(&Chain<'r>)) {
    let by_name = |namespaces: &'r [NamespaceRules]| {
        namespaces.iter().map(|rules| (rules.name.as_str(), rules)).collect::<BTreeMap<_, _>>()
    };
    let port = block.map(|block| block.port);
    let special = by_name(block.map(|block| block.namespaces.as_slice()).unwrap_or_default());
    let global = by_name(&rules.namespaces);
    let own = block.map(|block| (Level { port, namespace: None, set: None }, &block.own));
    let top = Some((Level { port: None, namespace: None, set: None }, &rules.top));
    each(&[None, None, own, None, None, top]);
    for name in special.keys().chain(global.keys().filter(|name| !special.contains_key(*name))) {
        let [special, global] = [special.get(name), global.get(name)].map(|rules| rules.copied());
        let level = |port, rules: &'r NamespaceRules| Level { port, namespace: Some(rules.name.as_str()), set: None };
        let of = |port, rules: Option<&'r NamespaceRules>| rules.map(|rules| (level(port, rules), &rules.own));
        let (special_own, global_own) = (of(port, special), of(None, global));
        each(&[None, special_own, own, None, global_own, top]);
        let sets = |port, rules: Option<&'r NamespaceRules>| {
            let all = rules.into_iter().flat_map(move |rules| {
                rules
                    .sets
                    .iter()
                    .map(move |(name, own)| (name.as_str(), (Level { set: Some(name), ..level(port, rules) }, own)))
            });
            all.collect::<BTreeMap<_, _>>()
        };
        let (special_sets, global_sets) = (sets(port, special), sets(None, global));
        for set in special_sets.keys().chain(global_sets.keys().filter(|set| !special_sets.contains_key(*set))) {
            let [special_set, global_set] = [special_sets.get(set), global_sets.get(set)].map(|it| it.copied());
            each(&[special_set, special_own, own, global_set, global_own, top]);
        }
    }
}
