"""Which file is run by whom, where several run side by side.

Most files keep a processor busy; those below mostly wait, for a clock, a timeout or housekeeping. Half of the
workers begin with what computes and half with what waits, so that the processors have something to do from the
beginning to the end, and never four things at once. Who has none left of its own goes on with the others'.
"""

import pathlib

from xdist.scheduler import LoadFileScheduling

TESTS = pathlib.Path(__file__).parents[1]
# From the longest on, so that no worker ends long before the others.
WAITING = [
    "clock_test.py", "tenant_limits_test.py", "sandbox/mutation_test.py", "lifecycle_test.py", "network_test.py",
    "front_door_test.py", "acme_test.py", "relay_test.py", "disk_test.py", "backup_test.py", "tenants_test.py",
    "sandbox/escape_test.py", "firewall_test.py", "events_test.py", "state_test.py", "update_under_load_test.py",
    "concurrency_test.py", "siblings_test.py", "rehearsals_test.py", "metrics_test.py",
]


class Order(LoadFileScheduling):
    def __init__(self, config, log=None):
        super().__init__(config, log)
        gone = [file for file in WAITING if not (TESTS / file).is_file()]
        assert gone == [], f"support/order.py names files that are not there: {gone}"

    def _assign_work_unit(self, node):
        waiting = [file for file in WAITING if file in self.workqueue]
        computing = [file for file in self.workqueue if file not in WAITING]
        is_odd = int(node.gateway.id.removeprefix("gw")) % 2 == 1
        first, second = (waiting, computing) if is_odd else (computing, waiting)
        self.workqueue.move_to_end((first or second)[0], last=False)
        super()._assign_work_unit(node)
