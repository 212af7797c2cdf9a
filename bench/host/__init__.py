"""What runs on the parent: it moves bytes and can name none of them.

Rule of the folder: it imports nothing of ours, so it is blind by construction, not by discipline.
"""
