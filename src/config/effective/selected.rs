//! What holds for the records of one port, namespace and set, and where each of it is from.

use super::{Page, headers, levels, urls};
use crate::config::Loaded;
use crate::config::context::join;
use crate::config::model::{BatchBody, Config, Format, Level, Routing};
use crate::format::Framing;

/// Records that are asked about; `None`: on a port without a block, of a namespace or set that no level names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// The port on which they arrive.
    pub port: Option<u16>,
    /// Their namespace.
    pub namespace: Option<&'a str>,
    /// Their set.
    pub set: Option<&'a str>,
}

/// The settings that hold for such a record, or nothing if `loaded` has faults.
pub fn print_selected(loaded: &Loaded, selection: Selection<'_>) -> String {
    let Some(config) = &loaded.config else { return String::new() };
    let mut page = Page::new(loaded);
    let Selection { port, namespace, set } = selection;
    let found = config.rules.resolve(port, namespace, set);
    let port = port.map_or("any port without a block of its own".to_owned(), |port| format!("port {port}"));
    let namespace = namespace.map_or("any other namespace".to_owned(), |name| format!("namespace {name:?}"));
    let set = set.map_or("no set, or any other".to_owned(), |name| format!("set {name:?}"));
    page.text.push_str(&format!("# Records of {namespace}, {set}, that arrive on {port}.\n"));

    match found.routing {
        Some((level, routing)) => {
            page.origin("routing", Some(&level));
            levels::routing(&mut page, 0, &parent(&level), routing, config);
        }
        None => {
            page.origin("routing", None);
            page.text.push_str("routing: null # acked, and not delivered\n");
        }
    }
    page.origin("format", found.format.as_ref().map(|(level, _)| level));
    let format = found.format.map_or(&Format::Xdr, |(_, format)| format);
    levels::format(&mut page, 0, &found.format.map(|(level, _)| parent(&level)).unwrap_or_default(), format);
    page.origin("bin-transforms", found.bin_transforms.as_ref().map(|(level, _)| level));
    match found.bin_transforms {
        Some((level, transforms)) => levels::bin_transforms(&mut page, 0, &parent(&level), transforms),
        None => page.text.push_str("bin-transforms: null # every bin, under its own name\n"),
    }
    page.origin("batching", found.batching.as_ref().map(|(level, _)| level));
    match found.batching {
        Some((level, batching)) => levels::batching(&mut page, 0, &parent(&level), batching),
        None => page.text.push_str("batching: null # each record is a request of its own\n"),
    }
    page.origin("record-ordering", found.ordering.as_ref().map(|(level, _)| level));
    match found.ordering {
        Some((level, ordering)) => levels::ordering(&mut page, 0, &parent(&level), ordering),
        None => page.text.push_str("record-ordering: null # versions of a record may overtake each other\n"),
    }
    let body = found.batching.map(|(_, batching)| batching).filter(|it| it.enabled).map(|it| it.body);
    let indices = match found.routing {
        Some((_, Routing::Destinations(indices))) => indices.as_slice(),
        _ => &[],
    };
    destinations(&mut page, config, indices, (format, body));
    page.text
}

fn destinations(page: &mut Page<'_>, config: &Config, indices: &[usize], (format, body): (&Format, Option<BatchBody>)) {
    if indices.is_empty() {
        page.text.push_str("destinations: {}\n");
        return;
    }
    page.section(0, "destinations");
    let content_type = Framing::new(format, body.unwrap_or_default()).content_type();
    for destination in indices.iter().filter_map(|index| config.destinations.get(*index)) {
        let section = join("destinations", &destination.name);
        page.section(1, &destination.name);
        page.one(2, &section, "urls", &urls(destination));
        page.text.push_str(&format!("    # content-type: {}\n", content_type.name()));
        headers(page, &section, &destination.headers, body.is_some());
    }
}

impl Page<'_> {
    /// A line that says where the section below it is from.
    fn origin(&mut self, kind: &str, level: Option<&Level<'_>>) {
        let path = level.map(|level| level.path(kind));
        let line = path.as_ref().and_then(|path| Some(format!("# {path}, line {}\n", self.lines.get(path.as_str())?)));
        self.text.push_str(line.as_deref().unwrap_or("# default\n"));
    }
}

/// The level's path without a kind.
fn parent(level: &Level<'_>) -> String {
    let path = level.path("routing");
    path.strip_suffix("routing").unwrap_or_default().trim_end_matches('.').to_owned()
}
