"""What an operator asks about the fleet: `gateway caps` (what it can do) and `gateway doctor` (what is wrong with it).

Nothing here prints or serves: the command line does.
"""
