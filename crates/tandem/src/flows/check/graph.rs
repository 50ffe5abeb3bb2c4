//! Judges the graph of a flow: what cannot be reached (warning), and circles that no time passes in (error).

use super::report::Report;
use crate::flows::model::Step;

/// Adds `unreachable_step` and `busy_loop`.
pub(super) fn judge(steps: &[Step], report: &mut Report) {
    let reached = reachable(steps);
    for (index, step) in steps.iter().enumerate() {
        if !reached.get(index).copied().unwrap_or(false) {
            report.warn(
                "unreachable_step",
                format!("/flow/{index}"),
                format!("no step leads to \"{}\": it never runs", step.id),
            );
        }
    }
    for component in components(steps) {
        let circular = component.len() > 1
            || component
                .iter()
                .any(|&index| steps.get(index).is_some_and(|step| step.edges.targets().any(|t| t == index)));
        let busy = component.iter().all(|&index| steps.get(index).is_some_and(|step| !step.kind.takes_time()));
        if circular && busy {
            let first = component.iter().min().copied().unwrap_or_default();
            let ids: Vec<&str> =
                component.iter().filter_map(|&index| steps.get(index)).map(|step| step.id.as_str()).collect();
            let message = format!("the steps {} lead to each other and none of them takes time", ids.join(", "));
            report.error("busy_loop", format!("/flow/{first}"), message);
        }
    }
}

fn reachable(steps: &[Step]) -> Vec<bool> {
    let mut reached = vec![false; steps.len()];
    let mut waiting = vec![0];
    while let Some(index) = waiting.pop() {
        match reached.get_mut(index) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        waiting.extend(steps.get(index).into_iter().flat_map(|step| step.edges.targets()));
    }
    reached
}

/// Strongly connected components (Kosaraju), without recursion: first the order in which searches finish, then the
/// reversed graph searched from the last finished.
fn components(steps: &[Step]) -> Vec<Vec<usize>> {
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for target in step.edges.targets() {
            if let Some(sources) = back.get_mut(target) {
                sources.push(index);
            }
        }
    }
    let mut finished = finishing_order(steps);
    let mut assigned = vec![false; steps.len()];
    let mut out = Vec::new();
    while let Some(root) = finished.pop() {
        let mut component = Vec::new();
        let mut waiting = vec![root];
        while let Some(index) = waiting.pop() {
            match assigned.get_mut(index) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            component.push(index);
            waiting.extend(back.get(index).into_iter().flatten().copied());
        }
        if !component.is_empty() {
            component.sort_unstable();
            out.push(component);
        }
    }
    out
}

fn finishing_order(steps: &[Step]) -> Vec<usize> {
    let mut seen = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    for root in 0..steps.len() {
        // (step, whether its targets were searched already)
        let mut waiting = vec![(root, false)];
        while let Some((index, searched)) = waiting.pop() {
            if searched {
                order.push(index);
                continue;
            }
            match seen.get_mut(index) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            waiting.push((index, true));
            waiting.extend(
                steps.get(index).into_iter().flat_map(|step| step.edges.targets()).map(|target| (target, false)),
            );
        }
    }
    order
}
