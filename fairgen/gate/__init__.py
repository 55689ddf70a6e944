"""May the indicator act on this prompt?"""
