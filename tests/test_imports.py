"""Imports lead one way: also those within functions, and those for type checkers alone."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_leads_back_to_itself():
    graph = grimp.build_graph("geoseg", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, with the modules of a cycle
